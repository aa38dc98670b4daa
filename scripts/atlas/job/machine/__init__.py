"""What of a machine a job has and uses: its batch system, its GPU, its energy."""
