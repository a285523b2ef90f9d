"""What one run did, for people: lanes, messages, faults and causes, as text, data or a page."""
