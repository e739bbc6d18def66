"""The doctor: what a gateway is like, in plain words, with what to do about it.

`probe` looks at what listens, `checks` and `bar_checks` judge what was seen, `examination` asks, `report` keeps it.
"""

from workbench.ib.doctor.checks import Check, State
from workbench.ib.doctor.examination import examine
from workbench.ib.doctor.report import DoctorReport

__all__ = ["Check", "DoctorReport", "State", "examine"]
