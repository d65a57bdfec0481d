"""The process itself: threads, memory, signals and exit."""
