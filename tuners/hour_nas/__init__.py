"""HourNAS (Yang et al.): search the vital blocks first, then the rest inside space proposals."""
