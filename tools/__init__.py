"""Programs that make what is read beside the code: reference pages and pictures. Nothing of Kith imports them."""
