"""Serial consoles: recording every byte, waiting for milestones, the timeline."""
