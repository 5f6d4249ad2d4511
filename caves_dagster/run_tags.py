"""The tags by which runs tell the sensors, and people in the UI, what became of them."""

from __future__ import annotations

SHOP_TAG = "caves/shop"
HEARTBEAT_TAG = "caves/heartbeat"
"""When the run was last known to live, seconds since 1970."""
PROCESS_TAG = "caves/process"
"""Which process carries the run out (`run_process.py`)."""
LANDED_TAG = "caves/landed"
"""On a run whose landing step succeeded, whatever became of the rest."""
LANDING_ONLY_TAG = "caves/landing_only"
"""On a run that was launched for landing alone, while what is behind it fails."""
FAILURE_TAG = "caves/failure"
"""On a failed run: why (`decision.Failure`)."""
