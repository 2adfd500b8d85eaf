"""GC ViT models: constructors, feature pyramid and preprocessing."""
