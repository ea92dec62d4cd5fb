"""What a spec is written with: the model, its mixins, properties and generators."""
