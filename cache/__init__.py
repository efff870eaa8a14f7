"""What we already know: answers as TTL-stamped JSON files. Standard library only."""
