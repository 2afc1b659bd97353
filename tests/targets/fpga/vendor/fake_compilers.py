"""Fakes of the vendors' compilers: they compile nothing, and leave reports of the form that the real ones leave.

``python fake_compilers.py VENDOR ...`` in a project's folder; ``cmake`` is a fake of that for oneAPI. ``FAKE_MHZ`` and
``FAKE_LOGIC`` say what they claim; ``FAKE_ENDING`` is ``fails``, ``silent`` (no report) or ``garbled``.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

MHZ = float(os.environ.get("FAKE_MHZ", "250"))
LOGIC = int(os.environ.get("FAKE_LOGIC", "5120"))
ENDING = os.environ.get("FAKE_ENDING", "")
AVAILABLE = 40000

VITIS = """<profile>
<UserAssignments><unit>ns</unit><TargetClockPeriod>5.00</TargetClockPeriod></UserAssignments>
<PerformanceEstimates>
<SummaryOfTimingAnalysis><unit>ns</unit><EstimatedClockPeriod>{period:.3f}</EstimatedClockPeriod></SummaryOfTimingAnalysis>
<SummaryOfOverallLatency><unit>clock cycles</unit><Best-caseLatency>11</Best-caseLatency>
<Worst-caseLatency>12</Worst-caseLatency><Interval-min>1</Interval-min><Interval-max>1</Interval-max>
</SummaryOfOverallLatency></PerformanceEstimates>
<AreaEstimates><Resources><BRAM_18K>4</BRAM_18K><DSP>37</DSP><FF>2100</FF><LUT>{logic}</LUT><URAM>0</URAM></Resources>
<AvailableResources><BRAM_18K>280</BRAM_18K><DSP>220</DSP><FF>80000</FF><LUT>{available}</LUT><URAM>0</URAM>
</AvailableResources></AreaEstimates></profile>
"""
LIBERO = """====== 1. Simulation Result ======

N/A. Please run co-simulation.

====== 2. Timing Result ======

+--------------+---------------+-------------+-------------+----------+-------------+
| Clock Domain | Target Period | Target Fmax | Worst Slack | Period   | Fmax        |
+--------------+---------------+-------------+-------------+----------+-------------+
| clk          | 5.000 ns      | 200.000 MHz | 1.000 ns    | 4.000 ns | {mhz:.3f} MHz |
+--------------+---------------+-------------+-------------+----------+-------------+

====== 3. Resource Usage ======

+--------------------------+---------------+--------+------------+
| Resource Type            | Used          | Total  | Percentage |
+--------------------------+---------------+--------+------------+
| Fabric + Interface 4LUT* | {logic} + 432 = {logic} | {available} | 1.86       |
| Math (18x18)             | 37            | 924    | 4.00       |
+--------------------------+---------------+--------+------------+
"""
CATAPULT_TIMING = """
    WNS(ns)      TNS(ns)  TNS Failing  Total      WHS(ns)      THS(ns)  Failing  Total     WPWS(ns)     TPWS(ns)
    -------      -------  -----------  -----      -------      -------  -------  -----     --------     --------
      {slack:.3f}        0.000            0   2341        0.045        0.000        0   2341        2.225        0.000
"""
CATAPULT_AREA = """| CLB LUTs*               | {logic} |     0 |  {available} |  1.2 |
| CLB Registers           | 2100 |     0 |  80000 |  0.9 |
|   RAMB18               |    4 |     0 |    280 |  1.4 |
| DSPs                    |   37 |     0 |    220 |  16.8 |
| URAM                    |    0 |     0 |      0 |  0.0 |
"""


def vitis() -> dict[str, str]:
    app = '<project xmlns="com.autoesl.autopilot.project"><solutions><solution name="solution1"/></solutions></project>'
    report = VITIS.format(period=1000 / MHZ, logic=LOGIC, available=AVAILABLE)
    return {"network_prj/hls.app": app, "network_prj/solution1/syn/report/network_csynth.xml": report}


def quartus() -> dict[str, str]:
    share = 100 * LOGIC / AVAILABLE
    area = {"total": [LOGIC, 2100, 4, 37, 12], "total_percent": [share, 1.5, 0.5, 4.0, 0.1]}
    verified = {"functions": [{"data": ["1", "11,12,11", "1,1,1"]}]}
    fitted = {
        "quartusFitClockSummary": {"nodes": [{"clock": f"{MHZ}"}]},
        "quartusFitResourceUsageSummary": {
            "nodes": [{"alm": "900", "reg": "2100", "dsp": "37", "ram": "4", "mlab": "12"}]
        },
    }
    folder = "network-fpga.prj/reports/lib"
    return {
        f"{folder}/report_data.js": f"var areaJSON={json.dumps(area)};var fileJSON=[];",
        f"{folder}/verification_data.js": f"var verifJSON={json.dumps(verified)};",
        f"{folder}/quartus_data.js": f"var quartusJSON={json.dumps(fitted)};",
    }


def oneapi() -> dict[str, str]:
    summary = [
        {"name": "Total", "data": [LOGIC, 2100, 4, 37, 12]},
        {"name": "Available", "data": [AVAILABLE, 80000, 280, 220, 900]},
    ]
    folder = "build/network.report.prj/reports/resources/json"
    return {
        f"{folder}/quartus.ndjson": "{}\n",
        f"{folder}/summary.ndjson": "".join(json.dumps(line) + "\n" for line in summary),
        f"{folder}/loop_attr.ndjson": json.dumps({"af": f"{MHZ}", "ii": "1", "lt": "12"}) + "\n",
    }


def catapult() -> dict[str, str]:
    folder = "network_prj/network.v1"
    timing = CATAPULT_TIMING.format(slack=5 - 1000 / MHZ)
    return {
        f"{folder}/vivado_concat_v/utilization_synth.rpt": CATAPULT_AREA.format(logic=LOGIC, available=AVAILABLE),
        f"{folder}/vivado_concat_v/timing_summary_synth.rpt": timing,
        f"{folder}/nnet_layer_results.txt": "layer area\n",
    }


def libero() -> dict[str, str]:
    report = LIBERO.format(mhz=MHZ, logic=LOGIC, available=AVAILABLE)
    return {"hls_output/reports/summary.results.rpt": report}


def main(vendor: str) -> int:
    if "--version" in sys.argv:
        sys.stdout.write("A fake compiler, version 2024.2\n")
        return 0
    if vendor == "cmake":
        Path("Makefile").write_text(f"report:\n\t{os.environ['FAKE_ICPX']}\n")
        return 0
    if ENDING == "fails":
        sys.stdout.write("ERROR: [FAKE 200-1] synthesis failed\n")
        return 2
    if not Path("firmware").is_dir() and not Path("src", "firmware").is_dir() and not Path("..", "src").is_dir():
        sys.stdout.write("ERROR: no project here\n")
        return 3
    root = Path("..") if vendor == "oneapi" else Path()
    for name, text in ({} if ENDING == "silent" else globals()[vendor]()).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("%PDF" if ENDING == "garbled" else text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
