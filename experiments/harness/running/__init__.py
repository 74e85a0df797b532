"""Jobs, processes, timing, and what a terminal shows of them."""
