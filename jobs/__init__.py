"""What a job is, and how one is carried out. Knows nothing of folders."""
