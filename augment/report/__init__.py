"""`augment report`: one HTML page about runs and what was trained, examined and gained with them."""
