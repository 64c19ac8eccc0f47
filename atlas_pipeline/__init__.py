"""The model atlas: which neural network was made from which, with evidence for every edge."""
