"""The REST tier: who may ask, what they ask, and how it is answered. Source: api.md."""
