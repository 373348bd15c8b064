"""The gRPC interface of surgecast; `surgecast.v1` holds the code generated from
`protos/surgecast/v1/*.proto`.
"""
