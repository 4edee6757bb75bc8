"""The Redfish face: a small service over a chassis. Source: DMTF DSP0266 (protocol), DSP0268 (properties)."""
