"""Lift: does a model that learns from the augmented rows do better than one that learns from the real rows alone?"""
