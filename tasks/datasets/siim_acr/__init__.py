"""SIIM-ACR Pneumothorax."""
