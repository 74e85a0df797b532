"""How a method trains, and for how long."""
