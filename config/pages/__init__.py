"""What all pages share, and the front page."""
