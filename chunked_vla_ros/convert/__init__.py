"""Turn recorded bags into a LeRobot dataset: in parallel, resumable, at one stroke."""
