"""`augment verify`: whether a published run is whole, and whether its pictures can be made again as they are."""
