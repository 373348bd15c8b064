"""The science of surgecast: demand, model, evaluation, planning. Knows neither training nor serving."""
