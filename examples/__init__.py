"""Programs to learn from: plain asyncio, run for real or inside Toron."""
