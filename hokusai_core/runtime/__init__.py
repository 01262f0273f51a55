"""What blocks and what awaits: drivers, threads, event loops, shared calls and the window of a batch."""
