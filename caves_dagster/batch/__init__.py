"""The batch half: seed files written, sources read and checked, tables loaded whole or not at all."""
