"""From a registered initialization to what a device receives, signed.

Two halves that meet only on disk. The export half (`decompositions`, `step`, `graphs`, `cost`,
`verification`, `export`) needs torch and turns an initialization into a bundle directory. The signing half
(`repository`) needs only tuf and publishes such a directory as targets of a TUF repository.
"""
