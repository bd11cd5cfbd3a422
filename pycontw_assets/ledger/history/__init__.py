"""Former editions that came from exports: which there are, and since when. No poll reads them."""
