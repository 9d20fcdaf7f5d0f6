"""Published pictures in the shapes that trainers read: folders, LLaVA, WebDataset, COCO."""
