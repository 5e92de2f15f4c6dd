"""Self-distillation: views of one image should look alike to a student and its slowly moving teacher."""
