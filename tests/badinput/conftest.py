"""How many cases of the catalogue were refused, said at the end of the session."""

import pytest

_passed: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count the cases that passed."""
    if report.when == "call" and report.passed and "[" in report.nodeid and "tests/badinput/" in report.nodeid:
        _passed.append(report.nodeid)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line, to be quoted."""
    if _passed:
        terminalreporter.write_line(f"bad input refused: cases={len(_passed)}")
