FAULTS={}
class Fault: pass
