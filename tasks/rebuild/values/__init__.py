"""Methods of evenly that give pairs values by their stored features."""
