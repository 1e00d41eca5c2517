"""What MLflow clients write: experiments, runs, files and foreign models, kept and never run."""
