"""How far apart the models of a region lie: distance matrices, nearest neighbours, weight clusters."""
