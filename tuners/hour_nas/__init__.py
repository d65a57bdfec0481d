"""HourNAS (Yang et al.): search the vital blocks first, then the non-vital blocks inside space proposals."""
