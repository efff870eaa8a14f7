"""What runs: folders, threads, signals, clocks."""
