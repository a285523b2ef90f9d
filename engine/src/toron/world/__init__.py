"""What the program sees: hosts, a network, sockets, clocks and entropy; and what it may not see."""
