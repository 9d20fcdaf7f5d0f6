"""The filters of pictures and of pairs, and what they share: features, hashes, embeddings, judges."""
