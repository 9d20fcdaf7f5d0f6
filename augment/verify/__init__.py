"""`augment verify`: whether a published run is whole, and whether its rows can be made again as they are."""
