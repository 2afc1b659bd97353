"""``python -m agent.report``: adds the inventory to a report and signs it with the device's key, then ends.

A process of its own, so that the daemon neither holds the key nor loads cryptography, a fourth of its memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agent.config import read_config
from agent.errors import AgentError
from agent.inventory import take_inventory
from agent.jobs import Failed, Sign, Signed, read_job, write_line
from manifests.errors import ManifestError
from manifests.signing import read_private_key, sign
from wire.messages import REPORT_TYPE, Fault, Report, encode_signed

if TYPE_CHECKING:
    from agent.config import AgentConfig
    from agent.jobs import AnyLine


def sign_report(config: AgentConfig, job: Sign) -> bytes:
    """The DSSE envelope of the report.

    Raises:
        UncheckableError: the device's key can't be read.
    """
    report = Report(
        fleet=config.fleet,
        device=config.device,
        boot=job.boot,
        sequence=job.sequence,
        time=job.time,
        assignment=job.assignment,
        inventory=take_inventory(config.targets, config.labels, config.state),
        models=job.models,
        steps=job.steps,
    )
    return sign(encode_signed(report), REPORT_TYPE, [read_private_key(config.key)])


def main() -> None:
    """Do the job on standard input."""
    job = read_job()
    if not isinstance(job, Sign):
        raise TypeError("this job is the updater's")
    try:
        line: AnyLine = Signed(envelope=sign_report(read_config(Path(job.config)), job))
    except (AgentError, ManifestError) as error:
        fault = Fault(code=error.code, message=str(error), hint=error.hint)
        line = Failed(outcome="refused", fault=fault)
    write_line(line)


if __name__ == "__main__":
    main()
