"""holdfast acts: dataset, fine-tune, prune, quantize, evaluate, register."""
