"""Reservations of rights: the mechanisms by which sites, answers and picture files speak to machines that learn."""
