"""The science of surgecast: demand, model, evaluation. Knows neither training nor serving."""
