# Each word is one of dev.py's, which works without make too: python3 dev.py demo
# Alone it tells which words there are.
help:
	@python3 dev.py help

.PHONY: help demo test test-kubernetes lint cover simulate chaos screens bench bench-all rows up install fmt lock clean

demo test test-kubernetes lint cover simulate chaos screens bench bench-all rows up install fmt lock clean:
	@python3 dev.py $@
