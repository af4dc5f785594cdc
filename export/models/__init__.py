"""The networks that the project trains: their architecture for torch, their data, their training."""
