"""Things that turn an Observation into an ActionPlan, behind one small protocol."""
