"""Adds up the figures of the schedules that the workers ran."""


def pytest_terminal_summary(terminalreporter):
    parts = [
        value
        for report in terminalreporter.stats.get("passed", ())
        for name, value in getattr(report, "user_properties", ())
        if name == "schedules"
    ]
    if parts:
        count, busy_s, virtual_s = (sum(column) for column in zip(*parts, strict=True))
        terminalreporter.write_line(
            f"simulation: {count} schedules, {count / busy_s:.0f}/s on a core, {virtual_s / 86400:.1f} days of virtual time"
        )
