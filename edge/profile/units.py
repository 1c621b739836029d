"""The units a point may have, and how its name ends with each: units are never guessed."""

from __future__ import annotations

from typing import Final

SUFFIXES: Final = {
    "": "",
    "veh": "",
    "veh/h": "_vehh",
    "km/h": "_kmh",
    "m": "_m",
    "m/s": "_ms",
    "mm": "_mm",
    "s": "_s",
    "%": "_pct",
    "V": "_v",
    "A": "_a",
    "W": "_w",
    "VA": "_va",
    "var": "_var",
    "Wh": "_wh",
    "VAh": "_vah",
    "varh": "_varh",
    "Hz": "_hz",
    "°": "_deg",
    "°C": "_degc",
    "hPa": "_hpa",
    "W/m2": "_wm2",
    "lx": "_lx",
    "dB": "_db",
    "ppm": "_ppm",
    "ug/m3": "_ugm3",
}
"""Unit → end of the name; "" = none."""
