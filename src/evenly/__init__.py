"""evenly: rebuild vision-language datasets, describe their classes, fit adapters, and say why a pair is in or out."""
