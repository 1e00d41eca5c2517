"""Work that survives a crash: steps with undo, queue, executors, walls."""
