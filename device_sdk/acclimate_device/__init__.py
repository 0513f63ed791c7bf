"""The device half of Acclimate: adapt a meta-learned initialization online, notice drift, report back."""

__version__ = "0.1.0"
